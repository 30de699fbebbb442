// Mapped + conditional types, checked at compile time where possible and at run time where useful.
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const check = <T extends true>() => {};

interface User {
  id: number;
  name: string;
  address: { street: string; zip?: string };
  tags: string[];
}

type DeepReadonly<T> = T extends (infer U)[] ? readonly DeepReadonly<U>[] : T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;
type Getters<T> = { [K in keyof T & string as `get${Capitalize<K>}`]: () => T[K] };
type PickByValue<T, V> = { [K in keyof T as T[K] extends V ? K : never]: T[K] };
type UnwrapPromise<T> = T extends Promise<infer U> ? UnwrapPromise<U> : T;
type Mutable<T> = { -readonly [K in keyof T]-?: T[K] };

check<Equal<UnwrapPromise<Promise<Promise<number>>>, number>>();
check<Equal<keyof PickByValue<User, string | number>, "id" | "name">>();
check<Equal<Mutable<{ readonly a?: 1 }>, { a: 1 }>>();

function deepFreeze<T>(value: T): DeepReadonly<T> {
  if (value && typeof value === "object") {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value as DeepReadonly<T>;
}

function makeGetters<T extends object>(obj: T): Getters<T> {
  const out: Record<string, () => unknown> = {};
  for (const key of Object.keys(obj) as (keyof T & string)[]) {
    out[`get${key[0].toUpperCase()}${key.slice(1)}`] = () => obj[key];
  }
  return out as Getters<T>;
}

const user = deepFreeze<User>({ id: 7, name: "Grace", address: { street: "Main St" }, tags: ["admin"] });
console.log(Object.isFrozen(user.address), Object.isFrozen(user.tags));
try {
  "use strict";
  (user as User).tags.push("x");
} catch (e) {
  console.log((e as Error).constructor.name);
}

const g = makeGetters(user);
console.log(g.getName(), g.getId(), g.getAddress().street, Object.keys(g));

function pick<T, const K extends readonly (keyof T)[]>(obj: T, keys: K): Pick<T, K[number]> {
  return Object.fromEntries(keys.map((k) => [k, obj[k]])) as any;
}
const small = pick(user, ["id", "tags"]);
console.log(small);

type PathOf<T> = T extends object ? { [K in keyof T & string]: K | `${K}.${PathOf<T[K]>}` }[keyof T & string] : never;
function at<T>(o: T, path: PathOf<Omit<T, "tags">>): unknown {
  return (path as string).split(".").reduce<any>((acc, k) => acc?.[k], o);
}
console.log(at(user as User, "address.street"));
