type DateParts = { year: number; month: number; day: number };

function makeDate(timestamp: number): Date;
function makeDate(iso: string): Date;
function makeDate(parts: DateParts): Date;
function makeDate(year: number, month: number, day: number): Date;
function makeDate(a: number | string | DateParts, m?: number, d?: number): Date {
  if (typeof a === "string") return new Date(a + (a.length === 10 ? "T00:00:00Z" : ""));
  if (typeof a === "object") return new Date(Date.UTC(a.year, a.month - 1, a.day));
  if (m !== undefined && d !== undefined) return new Date(Date.UTC(a, m - 1, d));
  return new Date(a);
}

interface Formatter {
  (date: Date): string;
  (date: Date, pattern: string): string;
  patterns: Record<string, string>;
}

const pad = (n: number, w = 2) => String(n).padStart(w, "0");

const format: Formatter = Object.assign(
  (date: Date, pattern = "iso") => {
    const p = format.patterns[pattern] ?? pattern;
    const tokens: Record<string, () => string> = {
      YYYY: () => pad(date.getUTCFullYear(), 4),
      MMM: () => date.toLocaleString("en-US", { month: "short", timeZone: "UTC" }),
      MM: () => pad(date.getUTCMonth() + 1),
      DD: () => pad(date.getUTCDate()),
      ddd: () => ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][date.getUTCDay()],
      HH: () => pad(date.getUTCHours()),
      mm: () => pad(date.getUTCMinutes()),
    };
    return p.replace(/YYYY|MMM|MM|DD|ddd|HH|mm/g, (t) => tokens[t]());
  },
  { patterns: { iso: "YYYY-MM-DD", long: "ddd, DD MMM YYYY", stamp: "YYYYMMDDTHHmm" } },
);

function diff(a: Date, b: Date): number;
function diff(a: Date, b: Date, unit: "weeks" | "days"): number;
function diff(a: Date, b: Date, unit: "text"): string;
function diff(a: Date, b: Date, unit: string = "days"): number | string {
  const days = Math.round((b.getTime() - a.getTime()) / 86_400_000);
  if (unit === "weeks") return days / 7;
  if (unit === "text") return days === 0 ? "today" : days > 0 ? `in ${days} days` : `${-days} days ago`;
  return days;
}

const dates = [makeDate(0), makeDate("2024-02-29"), makeDate({ year: 2025, month: 12, day: 24 }), makeDate(1999, 12, 31), makeDate("2024-07-01T15:30:00Z")];
for (const d of dates) console.log(format(d), "|", format(d, "long"), "|", format(d, "stamp"), "|", format(d, "DD/MM HH:mm"));
const ref = makeDate(2024, 3, 14);
console.log(diff(ref, dates[1]), diff(ref, dates[1], "text"), diff(ref, dates[2], "text"), diff(ref, ref, "text"));
console.log(diff(makeDate(2024, 1, 1), makeDate(2024, 1, 15), "weeks"), "weeks");
console.log(makeDate.length, typeof makeDate);
