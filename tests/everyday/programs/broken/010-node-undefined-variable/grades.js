const fs = require('fs');
const path = require('path');

function loadGrades(file) {
  return fs
    .readFileSync(path.join(__dirname, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [student, ...marks] = line.split(',');
      return { student, marks: marks.map(Number) };
    });
}

function average(marks) {
  const total = marks.reduce((a, b) => a + b, 0);
  return totl / marks.length;
}

const grades = loadGrades('grades.csv');
console.log(`${grades.length} students`);
for (const g of grades) {
  console.log(`${g.student}: ${average(g.marks).toFixed(1)}`);
}
