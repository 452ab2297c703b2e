import { ProtobufWriter } from './protobuf-writer.ts';

/** Element types used here, with their numbers in onnx.proto's TensorProto.DataType. */
const elementTypes = { float32: 1, uint8: 2, int32: 6, int64: 7 } as const;
export type ElementType = keyof typeof elementTypes;

/** A fixed extent, or the name of one that each run decides. */
export type Dimension = number | string;

export type AttributeValue =
  | { kind: 'int'; value: number }
  | { kind: 'ints'; value: readonly number[] }
  | { kind: 'float'; value: number }
  | { kind: 'string'; value: string };

export interface NodeOptions {
  attributes?: Record<string, AttributeValue>;
  /** Operator domain; the standard operators without, `com.microsoft` for onnxruntime's own. */
  domain?: 'com.microsoft';
  outputCount?: number;
}

/**
 * Format and operator versions: RMSNormalization and RotaryEmbedding came with opset 23, which IR 10 may carry. onnxruntime 1.30 accepts
 * up to IR 13 and opset 26.
 */
const irVersion = 10;
const opsetVersion = 23;

// AttributeProto.AttributeType
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

export const int = (value: number): AttributeValue => ({ kind: 'int', value });
export const ints = (...value: number[]): AttributeValue => ({ kind: 'ints', value });
export const float = (value: number): AttributeValue => ({ kind: 'float', value });
export const text = (value: string): AttributeValue => ({ kind: 'string', value });

/**
 * Builds an ONNX model as bytes (ModelProto of onnx.proto). Nodes must be added in an order in which every value exists before it is read;
 * values are their names. Weights are meant to be inputs: a session then serves every layer of the same shape.
 */
export class GraphBuilder {
  private readonly nodes: ProtobufWriter[] = [];
  private readonly initializers: ProtobufWriter[] = [];
  private readonly inputs = new Map<string, ProtobufWriter>();
  private readonly outputs = new Map<string, ProtobufWriter>();
  private readonly values = new Set<string>();
  private readonly name: string;
  private nextValue = 0;

  constructor(name: string) {
    this.name = name;
  }

  get inputNames(): string[] {
    return [...this.inputs.keys()];
  }

  get outputNames(): string[] {
    return [...this.outputs.keys()];
  }

  /** Declares a graph input; asking again for the same name gives the same value. */
  input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    if (!this.inputs.has(name)) {
      this.define(name);
      this.inputs.set(name, valueInfo(name, type, shape));
    }
    return name;
  }

  /** Gives a value the name under which a run returns it. */
  output(value: string, name: string, type: ElementType, shape: readonly Dimension[]): void {
    this.define(name);
    this.addNode('Identity', [value], [name], {});
    this.outputs.set(name, valueInfo(name, type, shape));
  }

  constant(
    type: ElementType,
    shape: readonly number[],
    data: Float32Array | Int32Array | BigInt64Array | Uint8Array,
  ): string {
    const name = this.newValue('constant');
    const tensor = new ProtobufWriter();
    for (const extent of shape) tensor.integer(1, extent);
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push(tensor.integer(2, elementTypes[type]).string(8, name).bytes(9, raw));
    return name;
  }

  /** An int64 vector, the form in which operators take shapes, axes and ranges. */
  constantInts(...values: number[]): string {
    return this.constant('int64', [values.length], BigInt64Array.from(values.map(BigInt)));
  }

  constantScalar(value: number): string {
    return this.constant('float32', [], Float32Array.of(value));
  }

  /** Adds a node with one output and returns it. An empty input name leaves an optional input out. */
  node(operator: string, inputs: readonly string[], options: NodeOptions = {}): string {
    return this.nodeWithOutputs(operator, inputs, { ...options, outputCount: 1 })[0]!;
  }

  nodeWithOutputs(operator: string, inputs: readonly string[], options: NodeOptions): string[] {
    const outputs = Array.from({ length: options.outputCount ?? 1 }, () => this.newValue(operator));
    this.addNode(operator, inputs, outputs, options);
    return outputs;
  }

  reshape(value: string, ...shape: number[]): string {
    return this.node('Reshape', [value, this.constantInts(...shape)]);
  }

  transpose(value: string, ...permutation: number[]): string {
    return this.node('Transpose', [value], { attributes: { perm: ints(...permutation) } });
  }

  /** Entries [begin, end) along an axis. */
  slice(value: string, axis: number, begin: number, end: number): string {
    return this.node('Slice', [
      value,
      this.constantInts(begin),
      this.constantInts(end),
      this.constantInts(axis),
    ]);
  }

  concat(values: readonly string[], axis: number): string {
    if (values.length === 1) return values[0]!;
    return this.node('Concat', values, { attributes: { axis: int(axis) } });
  }

  finish(): Uint8Array {
    const graph = new ProtobufWriter();
    for (const node of this.nodes) graph.message(1, node);
    graph.string(2, this.name);
    for (const initializer of this.initializers) graph.message(5, initializer);
    for (const input of this.inputs.values()) graph.message(11, input);
    for (const output of this.outputs.values()) graph.message(12, output);
    return new ProtobufWriter()
      .integer(1, irVersion)
      .string(2, 'dbell')
      .message(7, graph)
      .message(8, new ProtobufWriter().string(1, '').integer(2, opsetVersion))
      .message(8, new ProtobufWriter().string(1, 'com.microsoft').integer(2, 1))
      .finish();
  }

  private addNode(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    options: NodeOptions,
  ): void {
    const node = new ProtobufWriter();
    for (const input of inputs) {
      if (input !== '' && !this.values.has(input))
        throw new Error(`graph ${this.name}: ${operator} reads ${input}, which nothing has made yet`);
      node.string(1, input);
    }
    for (const output of outputs) node.string(2, output);
    node.string(3, `${operator}_${this.nodes.length}`).string(4, operator);
    for (const [name, value] of Object.entries(options.attributes ?? {}))
      node.message(5, attribute(name, value));
    if (options.domain) node.string(7, options.domain);
    this.nodes.push(node);
  }

  private newValue(hint: string): string {
    const name = `${hint}#${this.nextValue++}`;
    this.define(name);
    return name;
  }

  private define(name: string): void {
    if (this.values.has(name)) throw new Error(`graph ${this.name}: value ${name} is made twice`);
    this.values.add(name);
  }
}

function attribute(name: string, attributeValue: AttributeValue): ProtobufWriter {
  const writer = new ProtobufWriter().string(1, name);
  switch (attributeValue.kind) {
    case 'float':
      writer.float(2, attributeValue.value);
      break;
    case 'int':
      writer.integer(3, attributeValue.value);
      break;
    case 'string':
      writer.string(4, attributeValue.value);
      break;
    case 'ints':
      for (const value of attributeValue.value) writer.integer(8, value);
      break;
  }
  return writer.integer(20, attributeTypes[attributeValue.kind]);
}

function valueInfo(name: string, type: ElementType, shape: readonly Dimension[]): ProtobufWriter {
  const dimensions = new ProtobufWriter();
  for (const extent of shape) {
    const dimension = new ProtobufWriter();
    if (typeof extent === 'number') dimension.integer(1, extent);
    else dimension.string(2, extent);
    dimensions.message(1, dimension);
  }
  const tensorType = new ProtobufWriter().integer(1, elementTypes[type]).message(2, dimensions);
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensorType));
}
