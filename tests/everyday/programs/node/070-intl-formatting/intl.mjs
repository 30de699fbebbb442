const amount = 1234567.891;
const moment = new Date(Date.UTC(2024, 1, 29, 15, 4, 5));

for (const locale of ['en-US', 'de-DE', 'en-IN', 'ja-JP']) {
  const n = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 }).format(amount);
  const d = new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeZone: 'UTC' }).format(moment);
  console.log(`${locale}  ${n.padEnd(16)} ${d}`);
}

const eur = new Intl.NumberFormat('en-IE', { style: 'currency', currency: 'EUR' });
console.log(eur.format(0.5), eur.format(-12), new Intl.NumberFormat('en', { notation: 'compact' }).format(1_250_000), new Intl.NumberFormat('en', { style: 'percent', minimumFractionDigits: 1 }).format(0.1234));
console.log(new Intl.NumberFormat('en', { style: 'unit', unit: 'kilometer-per-hour' }).format(88));

const rtf = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
console.log([[-1, 'day'], [1, 'week'], [-3, 'month'], [0, 'year']].map((a) => rtf.format(...a)).join(', '));

const pr = new Intl.PluralRules('en', { type: 'ordinal' });
const suffix = { one: 'st', two: 'nd', few: 'rd', other: 'th' };
console.log([1, 2, 3, 4, 11, 12, 21, 22, 103].map((n) => n + suffix[pr.select(n)]).join(' '));

console.log(new Intl.ListFormat('en', { type: 'conjunction' }).format(['tea', 'milk', 'sugar']));
console.log(['zebra', 'Äpfel', 'apfel', 'Zoo', 'item 10', 'item 9'].sort(new Intl.Collator('de', { numeric: true }).compare));
console.log([...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment('e\u0301👨‍👩‍👧!')].length, 'graphemes,', [...'e\u0301👨‍👩‍👧!'].length, 'code points');

const zones = ['UTC', 'Europe/Paris', 'Asia/Kolkata', 'America/New_York'];
for (const timeZone of zones) {
  const p = Object.fromEntries(new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', day: '2-digit', month: 'short', hourCycle: 'h23' }).formatToParts(moment).map((x) => [x.type, x.value]));
  console.log(timeZone.padEnd(18), `${p.day} ${p.month} ${p.hour}:${p.minute}`);
}
console.log(moment.toISOString(), moment.getUTCDay(), 'İstanbul'.toLocaleLowerCase('tr'));
