const colors = require('ansi-color-shortcuts');

exports.formatTable = (rows) =>
  rows.map((r) => `${r.name.padEnd(10)} ${r.temp < 0 ? colors.blue(r.temp) : colors.red(r.temp)}`).join('\n');
