type State =
  | { name: "red"; remaining: number }
  | { name: "green"; remaining: number; pedestrianWaiting: boolean }
  | { name: "yellow"; remaining: number }
  | { name: "blinking" };

type Event = { type: "TICK" } | { type: "BUTTON" } | { type: "FAULT" } | { type: "RESET" };

const DURATION = { red: 3, green: 4, yellow: 1 } as const;

function assertNever(x: never): never {
  throw new Error("unexpected: " + JSON.stringify(x));
}

function reduce(state: State, event: Event): State {
  if (event.type === "FAULT") return { name: "blinking" };
  switch (state.name) {
    case "red":
      if (event.type !== "TICK") return state;
      return state.remaining > 1
        ? { ...state, remaining: state.remaining - 1 }
        : { name: "green", remaining: DURATION.green, pedestrianWaiting: false };
    case "green":
      if (event.type === "BUTTON") return { ...state, pedestrianWaiting: true, remaining: Math.min(state.remaining, 2) };
      if (event.type !== "TICK") return state;
      return state.remaining > 1
        ? { ...state, remaining: state.remaining - 1 }
        : { name: "yellow", remaining: DURATION.yellow };
    case "yellow":
      return event.type === "TICK" ? { name: "red", remaining: DURATION.red } : state;
    case "blinking":
      return event.type === "RESET" ? { name: "red", remaining: DURATION.red } : state;
    default:
      return assertNever(state);
  }
}

const icons: Record<State["name"], string> = { red: "🔴", green: "🟢", yellow: "🟡", blinking: "🟠" };

function show(s: State): string {
  const rest = "remaining" in s ? ` (${s.remaining})` : "";
  const ped = s.name === "green" && s.pedestrianWaiting ? " 🚶" : "";
  return `${icons[s.name]} ${s.name}${rest}${ped}`;
}

const script: Event["type"][] = [
  "TICK", "TICK", "TICK", "TICK", "BUTTON", "TICK", "TICK", "TICK", "FAULT", "TICK", "RESET", "TICK",
];

let state: State = { name: "red", remaining: DURATION.red };
console.log("start".padEnd(8), show(state));
for (const type of script) {
  state = reduce(state, { type } as Event);
  console.log(type.padEnd(8), show(state));
}
