type Constructor<T = {}> = new (...args: any[]) => T;

function Timestamped<B extends Constructor>(Base: B) {
  return class extends Base {
    #ticks = 0;
    touch(): this {
      this.#ticks++;
      return this;
    }
    get ticks() {
      return this.#ticks;
    }
  };
}

function Tagged<B extends Constructor>(Base: B) {
  return class Tagged extends Base {
    readonly tags = new Set<string>();
    tag(...names: string[]): this {
      names.forEach((n) => this.tags.add(n));
      return this;
    }
  };
}

interface Comparable<T> {
  compareTo(other: T): number;
}

class Temperature implements Comparable<Temperature> {
  static #created = 0;
  static {
    console.log("class is being set up");
  }
  #celsius: number;

  constructor(celsius: number) {
    if (celsius < -273.15) throw new RangeError("below absolute zero");
    this.#celsius = celsius;
    Temperature.#created++;
  }
  static fromFahrenheit(f: number) {
    return new this((f - 32) / 1.8);
  }
  static get created() {
    return Temperature.#created;
  }
  get fahrenheit() {
    return this.#celsius * 1.8 + 32;
  }
  set fahrenheit(f: number) {
    this.#celsius = (f - 32) / 1.8;
  }
  compareTo(o: Temperature) {
    return this.#celsius - o.#celsius;
  }
  static isTemperature(x: object): x is Temperature {
    return #celsius in x;
  }
  [Symbol.toPrimitive](hint: string) {
    return hint === "string" ? `${this.#celsius.toFixed(1)}°C` : this.#celsius;
  }
  get [Symbol.toStringTag]() {
    return "Temperature";
  }
  toJSON() {
    return { celsius: Number(this.#celsius.toFixed(2)) };
  }
}

const SensorReading = Tagged(Timestamped(Temperature));
type SensorReading = InstanceType<typeof SensorReading>;

const a: SensorReading = new SensorReading(21.5);
const b = SensorReading.fromFahrenheit(50);
a.tag("kitchen", "north").touch().touch();
console.log(`${a} and ${b}`, +a + +b, a > b);
console.log([...a.tags], a.ticks, Object.prototype.toString.call(b));
b.fahrenheit = 212;
console.log(JSON.stringify({ a, b }));
console.log([a, b, new Temperature(0)].sort((x, y) => x.compareTo(y)).map(String).join(" < "));
console.log(Temperature.isTemperature(a), Temperature.isTemperature({}), Temperature.created);
console.log(a instanceof Temperature, a instanceof SensorReading);
try {
  new Temperature(-300);
} catch (e) {
  console.log(String(e));
}
