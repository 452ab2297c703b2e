import onnxProto from 'onnx-proto';
import { expect, test } from 'vitest';
import { float, GraphBuilder, int, ints, text } from '../../engine/float/onnx/graph-builder.ts';
import { ProtobufWriter } from '../../engine/float/onnx/protobuf-writer.ts';
import { GraphSession } from '../../engine/float/session.ts';

const { onnx } = onnxProto;

test('a built model decodes to what was asked for', () => {
  const graph = new GraphBuilder('example');
  const x = graph.input('x', 'float32', ['rows', 300]);
  const node = graph.node('Operator', [x, '', graph.constant('float32', [2, 1], Float32Array.of(1.5, -2))], {
    domain: 'com.microsoft',
    attributes: { count: int(-3), axes: ints(0, 200, -1), scale: float(0.25), mode: text('über') },
  });
  graph.output(node, 'y', 'float32', ['rows', 5]);
  const model = onnx.ModelProto.toObject(onnx.ModelProto.decode(graph.finish()), { longs: Number });

  expect(model.irVersion).toBe(10);
  expect(model.opsetImport).toEqual([
    { domain: '', version: 23 },
    { domain: 'com.microsoft', version: 1 },
  ]);
  const { node: nodes, input, output, initializer, name } = model.graph;
  expect(name).toBe('example');
  expect(input).toEqual([
    {
      name: 'x',
      type: { tensorType: { elemType: 1, shape: { dim: [{ dimParam: 'rows' }, { dimValue: 300 }] } } },
    },
  ]);
  expect(output[0].name).toBe('y');
  expect(output[0].type.tensorType.shape.dim).toEqual([{ dimParam: 'rows' }, { dimValue: 5 }]);
  expect(initializer[0].dims).toEqual([2, 1]);
  expect(initializer[0].dataType).toBe(1);
  expect([...initializer[0].rawData]).toEqual([0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
  expect(nodes[0].opType).toBe('Operator');
  expect(nodes[0].domain).toBe('com.microsoft');
  expect(nodes[0].input).toEqual(['x', '', initializer[0].name]);
  const attributes = Object.fromEntries(
    nodes[0].attribute.map((attribute: { name: string }) => [attribute.name, attribute]),
  );
  expect(attributes.count).toMatchObject({ type: 2, i: -3 });
  expect(attributes.axes).toMatchObject({ type: 7, ints: [0, 200, -1] });
  expect(attributes.scale).toMatchObject({ type: 1, f: 0.25 });
  expect(Buffer.from(attributes.mode.s).toString()).toBe('über');
});

test('integers of all sizes survive', () => {
  for (const value of [0, 1, 127, 128, 16383, 16384, 2 ** 31, 2 ** 53 - 1, -1, -(2 ** 40)]) {
    const bytes = new ProtobufWriter().integer(1, value).finish();
    expect(onnx.ModelProto.toObject(onnx.ModelProto.decode(bytes), { longs: Number }).irVersion).toBe(value);
  }
});

test('a value that does not exist, or exists already, is refused when the graph is built', () => {
  const graph = new GraphBuilder('broken');
  expect(() => graph.node('Relu', ['nowhere'])).toThrow(
    'graph broken: Relu reads nowhere, which nothing has made yet',
  );
  const x = graph.input('x', 'float32', [1]);
  graph.output(x, 'y', 'float32', [1]);
  expect(() => graph.output(x, 'y', 'float32', [1])).toThrow('graph broken: value y is made twice');
});

test('a session names the input that is missing or has another size, and refuses work once closed', async () => {
  const graph = new GraphBuilder('sum');
  graph.output(
    graph.node('Add', [graph.input('a', 'float32', [2]), graph.input('b', 'float32', [2])]),
    'c',
    'float32',
    [2],
  );
  const session = await GraphSession.create(graph.finish(), 'a sum', 1);
  const pair = { data: Float32Array.of(1, 2), shape: [2] };
  expect((await session.run({ a: pair, b: pair })).c).toEqual(Float32Array.of(2, 4));
  await expect(session.run({ a: pair })).rejects.toThrow('a sum: input b is missing');
  await expect(session.run({ a: pair, b: { data: pair.data, shape: [3] } })).rejects.toThrow(
    'a sum: input b has 2 values, its shape [3] needs 3',
  );
  await session.close();
  await expect(session.run({ a: pair, b: pair })).rejects.toThrow('a sum: the session is closed');
});

test('a graph that onnxruntime refuses gives an error that says which', async () => {
  const graph = new GraphBuilder('unknown');
  graph.output(graph.node('NoSuchOperator', [graph.input('a', 'float32', [2])]), 'c', 'float32', [2]);
  await expect(GraphSession.create(graph.finish(), 'an experiment', 1)).rejects.toThrow(
    /^cannot prepare an experiment: .*NoSuchOperator/,
  );
});
