import type { Sample } from "@models";

export function formatSample({ label, values }: Sample, fn: (xs: number[]) => number, digits = 2): string {
  return `${label}: ${fn(values).toFixed(digits)}`;
}
