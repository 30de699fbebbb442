const EventEmitter = require('events');

class OrderSystem extends EventEmitter {
  constructor(stock) {
    super();
    this.stock = stock;
    this.orders = [];
  }

  place(item, qty) {
    const order = { id: this.orders.length + 1, item, qty, state: 'placed' };
    this.orders.push(order);
    this.emit('placed', order);
    setImmediate(() => this._reserve(order));
    return order;
  }

  _reserve(order) {
    const available = this.stock[order.item];
    if (available === undefined) {
      order.state = 'rejected';
      return this.emit('error', new Error(`unknown item: ${order.item}`), order);
    }
    if (available < order.qty) {
      order.state = 'backorder';
      return this.emit('backorder', order, order.qty - available);
    }
    this.stock[order.item] -= order.qty;
    order.state = 'shipped';
    this.emit('shipped', order);
    if (this.stock[order.item] < 3) this.emit('low-stock', order.item, this.stock[order.item]);
  }
}

const shop = new OrderSystem({ mug: 10, poster: 2 });

shop.on('placed', o => console.log(`🛒 #${o.id} ${o.qty} x ${o.item}`));
shop.on('shipped', o => console.log(`📦 #${o.id} shipped`));
shop.on('backorder', (o, missing) => console.log(`⏳ #${o.id} on backorder, ${missing} missing`));
shop.on('low-stock', (item, left) => console.log(`⚠️  only ${left} x ${item} left`));
shop.on('error', (err, o) => console.log(`❗ #${o.id} ${err.message}`));
shop.once('shipped', () => console.log('   (first shipment of the day)'));
shop.prependListener('placed', () => process.stdout.write('new order: '));

shop.place('mug', 8);
shop.place('poster', 5);
shop.place('teapot', 1);
shop.place('poster', 2);

setTimeout(() => {
  console.log();
  console.table(shop.orders);
  console.log('stock:', shop.stock);
  console.log('listeners:', shop.eventNames().map(n => `${String(n)}:${shop.listenerCount(n)}`).join(' '));
}, 20);
