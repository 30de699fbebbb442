const dayjs = require('dayjs');
const utc = require('dayjs/plugin/utc');
const isoWeek = require('dayjs/plugin/isoWeek');
const isBetween = require('dayjs/plugin/isBetween');
dayjs.extend(utc);
dayjs.extend(isoWeek);
dayjs.extend(isBetween);

const SPRINT_DAYS = 14;
const holidays = ['2024-04-01', '2024-05-01', '2024-05-09'];

function workingDays(start, end) {
  let n = 0;
  for (let d = start; d.isBefore(end); d = d.add(1, 'day')) {
    const weekend = d.isoWeekday() > 5;
    if (!weekend && !holidays.includes(d.format('YYYY-MM-DD'))) n++;
  }
  return n;
}

let start = dayjs.utc('2024-03-25');
for (let i = 1; i <= 5; i++) {
  const end = start.add(SPRINT_DAYS, 'day');
  const label = `${start.format('ddd D MMM')} - ${end.subtract(3, 'day').format('ddd D MMM')}`;
  const off = holidays.filter((h) => dayjs.utc(h).isBetween(start, end, 'day', '[)'));
  console.log(`Sprint ${i}  W${start.isoWeek()}-${end.subtract(1, 'day').isoWeek()}  ${label.padEnd(24)} ${workingDays(start, end)} days${off.length ? '  🏖 ' + off.join(', ') : ''}`);
  start = end;
}

console.log('Release:', start.startOf('month').add(1, 'month').format('dddd, MMMM D, YYYY'));
console.log('Days from kickoff:', start.diff(dayjs.utc('2024-03-25'), 'day'));
console.log('Leap day next year?', dayjs.utc('2024-02-29').add(1, 'year').format('YYYY-MM-DD'));
