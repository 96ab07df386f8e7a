// Draws the add-in's icon, a door with a handle, as a PNG.

import { crc32, deflateSync } from "node:zlib";

const ACCENT = [0x0b, 0x5c, 0xad, 0xff];
const WHITE = [0xff, 0xff, 0xff, 0xff];
const CLEAR = [0xff, 0xff, 0xff, 0x00];

/**
 * @param {number} size in pixels
 * @param {{outline?: boolean}} [style] outline: white lines on a transparent ground
 * @returns {Buffer}
 */
export function icon(size, { outline = false } = {}) {
  const rows = Buffer.alloc(size * (1 + size * 4));
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      const colour = pixel((x + 0.5) / size, (y + 0.5) / size, outline);
      rows.set(colour, y * (1 + size * 4) + 1 + x * 4);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 6, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function pixel(x, y, outline) {
  const inside = (left, top, right, bottom) => x >= left && x < right && y >= top && y < bottom;
  const door = inside(0.28, 0.16, 0.72, 0.84);
  const handle = inside(0.58, 0.46, 0.66, 0.56);
  if (!outline) return door && !handle ? WHITE : ACCENT;
  const line = door && !inside(0.35, 0.23, 0.65, 0.77);
  return line || handle ? WHITE : CLEAR;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  framed.set(body, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}
