var moment = require('moment');
var fs = require('fs');

var TODAY = moment.utc('2024-06-15');
var invoices = JSON.parse(fs.readFileSync(__dirname + '/invoices.json', 'utf8'));

invoices.forEach(function (inv) {
  var due = moment.utc(inv.issued, 'DD/MM/YYYY').add(inv.terms, 'days');
  if (due.day() === 6) due.add(2, 'days');
  if (due.day() === 0) due.add(1, 'day');
  inv.due = due;
  inv.late = TODAY.diff(due, 'days');
});

invoices.sort(function (a, b) { return a.due - b.due; });

invoices.forEach(function (inv) {
  var status;
  if (inv.late > 0) status = 'OVERDUE by ' + moment.duration(inv.late, 'days').humanize();
  else if (inv.late === 0) status = 'due today';
  else status = 'due ' + inv.due.from(TODAY);
  console.log(inv.no + '  ' + inv.due.format('ddd DD MMM YYYY') + '  ' + ('      ' + inv.amount.toFixed(2)).slice(-9) + '  ' + status);
});

var overdue = invoices.filter(function (i) { return i.late > 0; });
var total = overdue.reduce(function (sum, i) { return sum + i.amount; }, 0);
console.log('\n' + overdue.length + ' overdue, total ' + total.toFixed(2));
console.log('End of quarter: ' + TODAY.clone().endOf('quarter').format('LL'));
console.log('Valid date?', moment('31/02/2024', 'DD/MM/YYYY', true).isValid());
