namespace Units {
  export type Length = "m" | "km" | "mi" | "ft";

  export namespace Length {
    const factors = { m: 1, km: 1000, mi: 1609.344, ft: 0.3048 };
    export function convert(v: number, from: Units.Length, to: Units.Length): number {
      return (v * factors[from]) / factors[to];
    }
    export const units = Object.keys(factors) as Units.Length[];
  }

  export namespace Temperature {
    export const cToF = (c: number) => c * 1.8 + 32;
    export const fToC = (f: number) => (f - 32) / 1.8;
    export let conversions = 0;
    export function table(from: number, to: number, step = 10) {
      for (let c = from; c <= to; c += step) {
        conversions++;
        console.log(`${String(c).padStart(4)} °C = ${cToF(c).toFixed(1).padStart(6)} °F`);
      }
    }
  }
}

// merging: a namespace opened a second time
namespace Units {
  export const version = [2, 1] as const;
  export function describe() {
    return `units v${version.join(".")}, lengths: ${Length.units.join("/")}`;
  }
}

function parse(text: string): number {
  return parse.strict ? Number(text) : parseFloat(text);
}
namespace parse {
  export let strict = false;
}

console.log(Units.describe());
for (const u of Units.Length.units) console.log(`5 km = ${Units.Length.convert(5, "km", u).toFixed(3)} ${u}`);
Units.Temperature.table(-20, 40, 20);
console.log("conversions:", Units.Temperature.conversions, "| 98.6 °F =", Units.Temperature.fToC(98.6).toFixed(1), "°C");
console.log(parse("12px"));
parse.strict = true;
console.log(parse("12px"));
