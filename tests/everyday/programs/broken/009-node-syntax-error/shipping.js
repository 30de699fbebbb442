const rates = { domestic: 4.5, eu: 9.9, world: 19 };

function shippingCost(order) {
  const base = rates[order.zone];
  if (!base) {
    throw new Error(`unknown zone ${order.zone}`);
  }
  const weight = order.items.reduce((sum, item) => sum + item.weight * item.qty, 0);
  return base + Math.ceil(weight / 2) * 1.25;
}

const order = {
  zone: 'eu',
  items: [
    { name: 'book', weight: 0.8, qty: 2 },
    { name: 'mug', weight: 0.4 qty: 1 },
  ],
};

console.log('Shipping:', shippingCost(order).toFixed(2));
