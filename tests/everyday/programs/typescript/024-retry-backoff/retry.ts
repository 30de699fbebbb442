type Sleep = (ms: number) => Promise<void>;

interface RetryOptions {
  attempts?: number;
  base?: number;
  factor?: number;
  jitter?: number;
  retryIf?: (e: unknown) => boolean;
  sleep?: Sleep;
  random?: () => number;
}

class RetryError extends AggregateError {
  constructor(errors: unknown[], readonly attempts: number) {
    super(errors, `gave up after ${attempts} attempts`);
    this.name = "RetryError";
  }
}

class HttpError extends Error {
  constructor(public status: number) {
    super(`HTTP ${status}`);
  }
}

async function retry<T>(fn: (attempt: number) => Promise<T>, opts: RetryOptions = {}): Promise<T> {
  const { attempts = 4, base = 100, factor = 2, jitter = 0.2, retryIf = () => true, random = Math.random } = opts;
  const sleep: Sleep = opts.sleep ?? ((ms) => new Promise((r) => setTimeout(r, ms)));
  const errors: unknown[] = [];
  for (let n = 1; n <= attempts; n++) {
    try {
      return await fn(n);
    } catch (e) {
      errors.push(e);
      if (!retryIf(e)) throw e;
      if (n < attempts) {
        const wait = base * factor ** (n - 1);
        await sleep(Math.round(wait * (1 + jitter * (random() * 2 - 1))));
      }
    }
  }
  throw new RetryError(errors, attempts);
}

// deterministic random + fake clock
function mulberry32(a: number) {
  return () => {
    a |= 0; a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
let clock = 0;
const opts: RetryOptions = {
  random: mulberry32(42),
  sleep: async (ms) => { clock += ms; console.log(`   …waiting ${ms} ms (t=${clock})`); },
  retryIf: (e) => !(e instanceof HttpError && e.status < 500),
};

function flaky(plan: (number | string)[]) {
  return async (attempt: number) => {
    const r = plan[attempt - 1];
    console.log(` attempt ${attempt}: ${r}`);
    if (typeof r === "number") throw new HttpError(r);
    return r;
  };
}

async function main() {
  for (const plan of [["ok"], [503, 500, "finally"], [404, "never"], [500, 501, 502, 503]]) {
    console.log("plan", JSON.stringify(plan));
    try {
      console.log(" =>", await retry(flaky(plan), opts));
    } catch (e) {
      if (e instanceof RetryError) console.log(` => ${e.name}: ${e.message} [${e.errors.map((x) => x.message).join(", ")}]`);
      else console.log(" => fatal:", (e as Error).message);
    }
  }
}
void main();
