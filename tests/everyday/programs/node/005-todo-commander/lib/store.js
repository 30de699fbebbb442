const fs = require('fs');

function load(file) {
  if (!fs.existsSync(file)) return [];
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

function save(file, todos) {
  fs.writeFileSync(file, JSON.stringify(todos, null, 2) + '\n');
}

module.exports = { load, save };
