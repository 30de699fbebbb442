interface Item {
  name: string;
  price: number;
}

function total(items: Item[]): number {
  let sum = 0;
  for (const item of items) {
    sum += item.price;
  return sum;
}

const cart: Item[] = [{ name: "tea", price: 4 }, { name: "cup", price: 9 }];
console.log("total:", total(cart));
