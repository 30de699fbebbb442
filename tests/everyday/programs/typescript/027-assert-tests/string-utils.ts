export function truncate(s: string, max: number, suffix = "…"): string {
  if (max < suffix.length) throw new RangeError("max is too small");
  return s.length <= max ? s : s.slice(0, max - suffix.length) + suffix;
}
export const camelCase = (s: string) => s.toLowerCase().replace(/[-_\s]+(.)?/g, (_, c?: string) => c?.toUpperCase() ?? "");
export const kebabCase = (s: string) => s.replace(/([a-z\d])([A-Z])/g, "$1-$2").replace(/[\s_]+/g, "-").toLowerCase();
export function isPalindrome(s: string): boolean {
  const t = s.toLowerCase().replace(/[^a-z0-9]/g, "");
  return t === [...t].reverse().join("");
}
export function levenshtein(a: string, b: string): number {
  let prev = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const cur = [i];
    for (let j = 1; j <= b.length; j++) {
      cur[j] = Math.min(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    prev = cur;
  }
  return prev[b.length];
}
