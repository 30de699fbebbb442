enum LogLevel {
  Debug = 10,
  Info = 20,
  Warn = 30,
  Error = 40,
}

const enum Direction {
  Up,
  Right,
  Down,
  Left,
}

enum Permission {
  None = 0,
  Read = 1 << 0,
  Write = 1 << 1,
  Execute = 1 << 2,
  All = Read | Write | Execute,
}

enum Color {
  Red = "RED",
  Green = "GREEN",
}

enum Size {
  S = "abc".length,
  M = S * 2,
}

class Logger {
  constructor(private min: LogLevel) {}
  log(level: LogLevel, msg: string) {
    if (level >= this.min) console.log(`[${LogLevel[level].toUpperCase()}] ${msg}`);
  }
}

const log = new Logger(LogLevel.Info);
log.log(LogLevel.Debug, "you do not see this");
log.log(LogLevel.Info, "starting");
log.log(LogLevel.Error, "boom");

function describe(p: Permission): string {
  if (p === Permission.None) return "none";
  const names: string[] = [];
  for (const flag of [Permission.Read, Permission.Write, Permission.Execute]) {
    if (p & flag) names.push(Permission[flag]);
  }
  return names.join("+");
}

let perms = Permission.Read | Permission.Write;
console.log(describe(perms), perms);
perms &= ~Permission.Write;
console.log(describe(perms), perms);
console.log(describe(Permission.All), Permission.All);
console.log(describe(Permission.None));

let pos = { x: 0, y: 0 };
const path = [Direction.Up, Direction.Up, Direction.Right, Direction.Down, Direction.Left, Direction.Left];
for (const d of path) {
  switch (d) {
    case Direction.Up: pos.y--; break;
    case Direction.Down: pos.y++; break;
    case Direction.Left: pos.x--; break;
    case Direction.Right: pos.x++; break;
  }
}
console.log("position", pos);

console.log(Object.values(Color), Object.keys(Color));
const isColor = (s: string): s is Color => (Object.values(Color) as string[]).includes(s);
console.log(isColor("RED"), isColor("BLUE"));
console.log(Object.keys(LogLevel).filter((k) => isNaN(Number(k))));
console.log(Size.S, Size.M, Size[6]);
