class Node {
  left = null;
  right = null;
  constructor(key, value) {
    this.key = key;
    this.value = value;
  }
}

export default class BinarySearchTree {
  #root = null;
  #size = 0;
  #compare;

  constructor(compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0)) {
    this.#compare = compare;
  }

  set(key, value) {
    const insert = (node) => {
      if (!node) {
        this.#size++;
        return new Node(key, value);
      }
      const c = this.#compare(key, node.key);
      if (c === 0) node.value = value;
      else if (c < 0) node.left = insert(node.left);
      else node.right = insert(node.right);
      return node;
    };
    this.#root = insert(this.#root);
    return this;
  }

  get(key) {
    let node = this.#root;
    while (node) {
      const c = this.#compare(key, node.key);
      if (c === 0) return node.value;
      node = c < 0 ? node.left : node.right;
    }
  }

  delete(key) {
    let removed = false;
    const remove = (node, k) => {
      if (!node) return null;
      const c = this.#compare(k, node.key);
      if (c < 0) node.left = remove(node.left, k);
      else if (c > 0) node.right = remove(node.right, k);
      else {
        removed = true;
        if (!node.left) return node.right;
        if (!node.right) return node.left;
        let next = node.right;
        while (next.left) next = next.left;
        [node.key, node.value] = [next.key, next.value];
        node.right = remove(node.right, next.key);
      }
      return node;
    };
    this.#root = remove(this.#root, key);
    if (removed) this.#size--;
    return removed;
  }

  get size() { return this.#size; }
  get height() {
    const h = (n) => (n ? 1 + Math.max(h(n.left), h(n.right)) : 0);
    return h(this.#root);
  }

  *[Symbol.iterator]() {
    function* walk(n) {
      if (!n) return;
      yield* walk(n.left);
      yield [n.key, n.value];
      yield* walk(n.right);
    }
    yield* walk(this.#root);
  }

  *range(from, to) {
    for (const [k, v] of this) {
      if (this.#compare(k, to) > 0) return;
      if (this.#compare(k, from) >= 0) yield [k, v];
    }
  }

  get [Symbol.toStringTag]() { return `BST(${this.#size})`; }
}
