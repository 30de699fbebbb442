const isLeaf = (x) => x !== null && typeof x === 'object' && 'from' in x && 'value' in x;

exports.tag = function tag(obj, from) {
  const out = {};
  for (const [k, v] of Object.entries(obj)) {
    out[k] = v && typeof v === 'object' && !Array.isArray(v) ? tag(v, from) : { value: v, from };
  }
  return out;
};

exports.mergeDeep = function mergeDeep(a, b) {
  const out = { ...a };
  for (const k in b) out[k] = k in a && !isLeaf(b[k]) ? mergeDeep(a[k], b[k]) : b[k];
  return out;
};

exports.setPath = function (obj, keys, leaf) {
  const last = keys.pop();
  for (const k of keys) obj = obj[k] ??= {};
  obj[last] = leaf;
};

exports.coerce = (s) => {
  if (s === 'true' || s === 'false') return s === 'true';
  if (s !== '' && !isNaN(s)) return Number(s);
  return s;
};

exports.flatten = function flatten(obj, prefix = '') {
  return Object.entries(obj).reduce((acc, [k, v]) => {
    if (isLeaf(v)) acc[prefix + k] = v;
    else Object.assign(acc, flatten(v, `${prefix}${k}.`));
    return acc;
  }, {});
};
