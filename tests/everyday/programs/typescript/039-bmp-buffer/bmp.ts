import { writeFileSync, readFileSync } from "fs";
import { Buffer } from "buffer";
import * as crypto from "crypto";

function encodeBmp(width: number, height: number, pixel: (x: number, y: number) => [number, number, number]): Buffer {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const buf = Buffer.alloc(54 + stride * height);
  buf.write("BM", 0, "ascii");
  buf.writeUInt32LE(buf.length, 2);
  buf.writeUInt32LE(54, 10);
  buf.writeUInt32LE(40, 14);
  buf.writeInt32LE(width, 18);
  buf.writeInt32LE(height, 22);
  buf.writeUInt16LE(1, 26);
  buf.writeUInt16LE(24, 28);
  buf.writeUInt32LE(stride * height, 34);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [r, g, b] = pixel(x, y);
      buf.set([b, g, r], 54 + (height - 1 - y) * stride + x * 3);
    }
  }
  return buf;
}

interface BmpHeader {
  size: number;
  offset: number;
  width: number;
  height: number;
  bpp: number;
}

function decodeHeader(b: Buffer): BmpHeader {
  if (b.toString("latin1", 0, 2) !== "BM") throw new Error("not a BMP: " + b.subarray(0, 2).toString("hex"));
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  return {
    size: view.getUint32(2, true),
    offset: view.getUint32(10, true),
    width: view.getInt32(18, true),
    height: view.getInt32(22, true),
    bpp: view.getUint16(28, true),
  };
}

function hexdump(b: Uint8Array, rows = 4): void {
  for (let i = 0; i < Math.min(b.length, rows * 16); i += 16) {
    const slice = Array.from(b.subarray(i, i + 16));
    const hex = slice.map((v) => v.toString(16).padStart(2, "0")).join(" ");
    const text = slice.map((v) => (v >= 32 && v < 127 ? String.fromCharCode(v) : ".")).join("");
    console.log(`${i.toString(16).padStart(8, "0")}  ${hex.padEnd(47)}  |${text}|`);
  }
}

const img = encodeBmp(17, 9, (x, y) => [x * 15, y * 28, (x ^ y) & 1 ? 255 : 0]);
writeFileSync("gradient.bmp", img);
const back = readFileSync("gradient.bmp");
console.log(decodeHeader(back));
hexdump(back);
console.log("equal:", back.equals(img), Buffer.compare(back, img));
console.log("sha256:", crypto.createHash("sha256").update(back).digest("hex").slice(0, 16));
console.log(Buffer.from("žluťoučký").toString("base64"), Buffer.byteLength("žluťoučký"));
console.log(Buffer.concat([Buffer.from([1, 2]), Buffer.from("ff00", "hex")]));
try {
  decodeHeader(Buffer.from("PNG..."));
} catch (e) {
  console.log((e as Error).message);
}
