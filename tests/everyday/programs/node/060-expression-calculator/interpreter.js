const ops = { '+': (a, b) => a + b, '-': (a, b) => a - b, '*': (a, b) => a * b, '%': (a, b) => a % b, '^': Math.pow };
const fns = { sqrt: Math.sqrt, max: Math.max, min: Math.min, round: Math.round, fact: (n) => (n < 2 ? 1 : n * fns.fact(n - 1)) };

exports.evaluate = function evaluate(node, env) {
  switch (node.type) {
    case 'num': return node.value;
    case 'neg': return -evaluate(node.arg, env);
    case 'var':
      if (!env.has(node.name)) throw new ReferenceError(`unknown variable ${node.name}`);
      return env.get(node.name);
    case 'assign': {
      const v = evaluate(node.value, env);
      env.set(node.name, v);
      return v;
    }
    case 'call':
      if (!Object.hasOwn(fns, node.name)) throw new ReferenceError(`unknown function ${node.name}`);
      return fns[node.name](...node.args.map((a) => evaluate(a, env)));
    case 'binary': {
      const l = evaluate(node.left, env), r = evaluate(node.right, env);
      if (node.op === '/') {
        if (r === 0) throw new RangeError('division by zero');
        return l / r;
      }
      return ops[node.op](l, r);
    }
  }
};
