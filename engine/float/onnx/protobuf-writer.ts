/**
 * Protocol Buffers wire format, as much as an ONNX model needs: varints, 32-bit floats and length-delimited fields
 * (https://protobuf.dev/programming-guides/encoding/). Repeated integers go unpacked, as onnx.proto (proto2) declares them. A message is built as a list of byte pieces and joined once.
 */
const wireVarint = 0;
const wireLengthDelimited = 2;
const wireFixed32 = 5;

export class ProtobufWriter {
  private readonly pieces: Uint8Array[] = [];
  private length = 0;

  /** int32, int64, enum. Negative values take ten bytes (two's complement in 64 bits), as the format demands. */
  integer(field: number, value: number | bigint): this {
    this.tag(field, wireVarint);
    this.push(varint(BigInt(value)));
    return this;
  }

  float(field: number, value: number): this {
    this.tag(field, wireFixed32);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.push(bytes);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.tag(field, wireLengthDelimited);
    this.push(varint(BigInt(value.byteLength)));
    this.push(value);
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: ProtobufWriter): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    const joined = new Uint8Array(this.length);
    let offset = 0;
    for (const piece of this.pieces) {
      joined.set(piece, offset);
      offset += piece.byteLength;
    }
    return joined;
  }

  private tag(field: number, wireType: number): void {
    this.push(varint(BigInt(field * 8 + wireType)));
  }

  private push(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.length += piece.byteLength;
  }
}

/** Base-128 digits, least significant first; the top bit says that another follows. */
function varint(value: bigint): Uint8Array {
  let rest = BigInt.asUintN(64, value);
  const bytes: number[] = [];
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
