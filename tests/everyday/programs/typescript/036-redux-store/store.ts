type Reducer<S, A> = (state: S | undefined, action: A) => S;
type Dispatch<A> = (action: A) => A;
type Middleware<S, A> = (api: { getState(): S; dispatch: Dispatch<A> }) => (next: Dispatch<A>) => Dispatch<A>;

interface Store<S, A> {
  getState(): S;
  dispatch: Dispatch<A>;
  subscribe(fn: () => void): () => void;
}

const INIT = { type: "@@init" } as const;

function createStore<S, A extends { type: string }>(reducer: Reducer<S, A>, ...middleware: Middleware<S, A>[]): Store<S, A> {
  let state = reducer(undefined, INIT as unknown as A);
  const listeners = new Set<() => void>();
  let dispatch: Dispatch<A> = (action) => {
    state = reducer(state, action);
    listeners.forEach((l) => l());
    return action;
  };
  const api = { getState: () => state, dispatch: (a: A) => dispatch(a) };
  dispatch = middleware.map((m) => m(api)).reduceRight((next, m) => m(next), dispatch);
  return {
    ...api,
    subscribe(fn) {
      listeners.add(fn);
      return () => void listeners.delete(fn);
    },
  };
}

function combineReducers<S extends object, A>(map: { [K in keyof S]: Reducer<S[K], A> }): Reducer<S, A> {
  return (state, action) => {
    const next = {} as S;
    let changed = state === undefined;
    for (const k in map) {
      next[k] = map[k](state?.[k], action);
      changed ||= next[k] !== state![k];
    }
    return changed ? next : state!;
  };
}

// --- app ---
type Action =
  | { type: "cart/add"; sku: string; price: number }
  | { type: "cart/remove"; sku: string }
  | { type: "coupon/apply"; percent: number };

interface State {
  cart: Record<string, { n: number; price: number }>;
  coupon: number;
}

const reducer = combineReducers<State, Action>({
  cart(state = {}, a) {
    switch (a.type) {
      case "cart/add": {
        const n = (state[a.sku]?.n ?? 0) + 1;
        return { ...state, [a.sku]: { n, price: a.price } };
      }
      case "cart/remove": {
        const { [a.sku]: _gone, ...rest } = state;
        return rest;
      }
      default:
        return state;
    }
  },
  coupon: (state = 0, a) => (a.type === "coupon/apply" ? a.percent : state),
});

const logger: Middleware<State, Action> = () => (next) => (action) => {
  console.log("action", action.type);
  return next(action);
};
const guard: Middleware<State, Action> = ({ getState }) => (next) => (action) => {
  if (action.type === "coupon/apply" && getState().coupon) {
    console.log("  only one coupon, sorry");
    return action;
  }
  return next(action);
};

const total = ({ cart, coupon }: State) => Object.values(cart).reduce((s, { n, price }) => s + n * price, 0) * (1 - coupon / 100);

const store = createStore(reducer, logger, guard);
const stop = store.subscribe(() => console.log("  total", total(store.getState()).toFixed(2)));
const before = store.getState();
store.dispatch({ type: "cart/add", sku: "tea", price: 4.5 });
store.dispatch({ type: "cart/add", sku: "tea", price: 4.5 });
store.dispatch({ type: "cart/add", sku: "cup", price: 12 });
store.dispatch({ type: "coupon/apply", percent: 10 });
store.dispatch({ type: "coupon/apply", percent: 90 });
stop();
store.dispatch({ type: "cart/remove", sku: "cup" });
console.log(store.getState());
console.log("initial state untouched:", JSON.stringify(before));
