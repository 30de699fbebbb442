import { Order, Price, money, type OrderStatus } from "./domain/index.js";

const order = new Order("A-1001");
order.add("TEA", 3, Price.of(4.35)).add("MUG", 1, Price.of(11.9));
console.log(`total: ${order.total()}`);

const seen: OrderStatus[] = [order.status];
order.advance();
seen.push(order.status);
try {
  order.add("LATE", 1, money.Money.of(1));
} catch (e) {
  console.log((e as Error).message);
}
order.advance();
seen.push(order.status);
console.log(seen.join(" -> "));

const dollars = new Order("A-1002").add("BOOK", 1, Price.of(20, "USD"));
try {
  dollars.total();
} catch (e) {
  console.log(String(e));
}
console.log(Price === money.Money);

const receipts = await Promise.all([order].map(async (o) => ({ id: o.id, sum: `${o.total().times(1.2)}` })));
console.log(receipts);
