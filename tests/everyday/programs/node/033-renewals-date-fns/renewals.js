const { addMonths, addYears, differenceInCalendarDays, format, isBefore, parseISO, eachMonthOfInterval, endOfMonth, formatDistanceStrict, isWeekend } = require('date-fns');
const subscriptions = require('./subscriptions.json');

const now = parseISO('2024-09-10T12:00:00');

function nextRenewal({ started, period }) {
  const first = parseISO(`${started}T12:00:00`);
  let i = 0;
  let date = first;
  while (isBefore(date, now)) {
    i++;
    date = period === 'yearly' ? addYears(first, i) : addMonths(first, i);
  }
  return date;
}

const rows = subscriptions
  .map((s) => ({ ...s, next: nextRenewal(s) }))
  .sort((a, b) => a.next - b.next);

for (const { name, next, price, period } of rows) {
  const days = differenceInCalendarDays(next, now);
  const flag = days <= 7 ? '🔔' : '  ';
  console.log(`${flag} ${name.padEnd(16)} ${format(next, 'yyyy-MM-dd (EEE)')}  in ${String(days).padStart(3)} days  ${price.toFixed(2)}/${period}${isWeekend(next) ? '  weekend' : ''}`);
}

const yearly = rows.reduce((sum, r) => sum + r.price * (r.period === 'yearly' ? 1 : 12), 0);
console.log(`\nCost per year: ${yearly.toFixed(2)}`);
console.log('Oldest:', formatDistanceStrict(parseISO('2021-01-31T12:00:00'), now, { unit: 'month' }));
console.log(eachMonthOfInterval({ start: now, end: addMonths(now, 5) }).map((d) => `${format(d, 'MMM')} ${format(endOfMonth(d), 'do')}`).join(', '));
