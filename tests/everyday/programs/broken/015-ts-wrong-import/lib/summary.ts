export function summarize(xs: number[]): string {
  return `n=${xs.length} sum=${xs.reduce((a, b) => a + b, 0)}`;
}
