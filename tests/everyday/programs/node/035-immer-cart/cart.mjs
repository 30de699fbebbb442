import { produce, produceWithPatches, applyPatches, enablePatches, enableMapSet, freeze } from 'immer';

enablePatches();
enableMapSet();

const initial = freeze({ items: [], coupon: null, seen: new Set(), totals: { net: 0, gross: 0 } }, true);

const recalc = (draft) => {
  const net = draft.items.reduce((s, i) => s + i.price * i.qty, 0);
  draft.totals.net = net - (draft.coupon?.off ?? 0);
  draft.totals.gross = Math.round(draft.totals.net * 1.2 * 100) / 100;
};

const reducer = produce((draft, action) => {
  switch (action.type) {
    case 'add': {
      const found = draft.items.find((i) => i.sku === action.sku);
      if (found) found.qty += action.qty ?? 1;
      else draft.items.push({ sku: action.sku, price: action.price, qty: action.qty ?? 1 });
      draft.seen.add(action.sku);
      break;
    }
    case 'remove':
      draft.items = draft.items.filter((i) => i.sku !== action.sku);
      break;
    case 'coupon':
      draft.coupon = { code: action.code, off: 5 };
      break;
    default:
      return;
  }
  recalc(draft);
});

const actions = [
  { type: 'add', sku: 'tea', price: 4.5, qty: 2 },
  { type: 'add', sku: 'cup', price: 12 },
  { type: 'add', sku: 'tea' },
  { type: 'coupon', code: 'HELLO5' },
  { type: 'noop' },
  { type: 'remove', sku: 'cup' },
];

let state = initial;
for (const action of actions) {
  const next = reducer(state, action);
  console.log(action.type.padEnd(7), next === state ? '(same object)' : JSON.stringify(next.totals));
  state = next;
}
console.log(state);

try {
  'use strict';
  state.items[0].qty = 100;
} catch (e) {
  console.log('frozen:', e.constructor.name);
}

const [after, patches, undo] = produceWithPatches(state, (d) => {
  d.items[0].qty = 1;
  d.coupon = null;
});
console.log('patches:', patches);
console.log('undo works:', applyPatches(after, undo).items[0].qty === state.items[0].qty);
