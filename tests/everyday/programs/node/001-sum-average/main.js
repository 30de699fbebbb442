const numbers = [12, 7, 3.5, 22, 19, 4, 8.25];

let sum = 0;
for (let i = 0; i < numbers.length; i++) {
  sum += numbers[i];
}
const avg = sum / numbers.length;

console.log("Numbers:", numbers);
console.log("Sum:", sum);
console.log("Average:", avg.toFixed(2));
console.log("Max:", Math.max(...numbers), "Min:", Math.min(...numbers));
