import { writeFileSync } from "node:fs";
import { argv } from "node:process";

const enum Tile {
  Wall = "#",
  Floor = ".",
  Door = "+",
  Stairs = ">",
  Start = "@",
  Gold = "$",
}

class Rng {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }
  pick<T>(xs: readonly T[]): T {
    return xs[this.int(0, xs.length - 1)];
  }
}

interface Room { x: number; y: number; w: number; h: number }
type Pos = readonly [x: number, y: number];

class Dungeon {
  readonly tiles: Tile[][];
  readonly rooms: Room[] = [];

  constructor(readonly width: number, readonly height: number, private rng: Rng) {
    this.tiles = Array.from({ length: height }, () => Array<Tile>(width).fill(Tile.Wall));
    this.carveRooms(12);
    this.connect();
    this.populate();
  }

  private carveRooms(tries: number) {
    while (tries-- > 0) {
      const w = this.rng.int(4, 9), h = this.rng.int(3, 5);
      const room = { w, h, x: this.rng.int(1, this.width - w - 1), y: this.rng.int(1, this.height - h - 1) };
      if (this.rooms.some((o) => room.x <= o.x + o.w && o.x <= room.x + room.w && room.y <= o.y + o.h && o.y <= room.y + room.h)) continue;
      this.rooms.push(room);
      for (let y = room.y; y < room.y + h; y++) this.tiles[y].fill(Tile.Floor, room.x, room.x + w);
    }
  }
  private center = ({ x, y, w, h }: Room): Pos => [x + (w >> 1), y + (h >> 1)];

  private connect() {
    for (let i = 1; i < this.rooms.length; i++) {
      let [x, y] = this.center(this.rooms[i - 1]);
      const [tx, ty] = this.center(this.rooms[i]);
      while (x !== tx || y !== ty) {
        if (x !== tx) x += Math.sign(tx - x);
        else y += Math.sign(ty - y);
        if (this.tiles[y][x] === Tile.Wall) this.tiles[y][x] = Tile.Floor;
      }
    }
  }
  private populate() {
    const put = ([x, y]: Pos, t: Tile) => (this.tiles[y][x] = t);
    put(this.center(this.rooms[0]), Tile.Start);
    put(this.center(this.rooms.at(-1)!), Tile.Stairs);
    for (let i = 0; i < 4; i++) {
      const r = this.rng.pick(this.rooms);
      const p: Pos = [this.rng.int(r.x, r.x + r.w - 1), this.rng.int(r.y, r.y + r.h - 1)];
      if (this.tiles[p[1]][p[0]] === Tile.Floor) put(p, Tile.Gold);
    }
  }

  shortestPath(): number {
    const start = this.find(Tile.Start)!;
    const queue: [Pos, number][] = [[start, 0]];
    const seen = new Set([start.join()]);
    for (const [[x, y], d] of queue) {
      if (this.tiles[y][x] === Tile.Stairs) return d;
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        const next: Pos = [x + dx, y + dy];
        if (this.tiles[next[1]]?.[next[0]] === Tile.Wall || seen.has(next.join())) continue;
        seen.add(next.join());
        queue.push([next, d + 1]);
      }
    }
    return -1;
  }
  find(t: Tile): Pos | undefined {
    for (let y = 0; y < this.height; y++) {
      const x = this.tiles[y].indexOf(t);
      if (x >= 0) return [x, y];
    }
  }
  toString = () => this.tiles.map((r) => r.join("")).join("\n");
}

const seed = Number(argv[2] ?? 1);
const d = new Dungeon(48, 16, new Rng(seed));
console.log(`${d}`);
console.log(`seed ${seed}: ${d.rooms.length} rooms, ${String(d).split(Tile.Gold).length - 1} gold, stairs in ${d.shortestPath()} steps`);
writeFileSync(`map-${seed}.txt`, `${d}\n`);
