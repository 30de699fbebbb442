const TOKEN = /\s*(?:(?<num>\d+(?:\.\d+)?)|(?<id>[a-z_]\w*)|(?<op>\*\*|[-+*/%^()=,!]))/iy;

function tokenize(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const m = TOKEN.exec(text);
    if (!m) {
      const err = new SyntaxError(`unexpected "${text.slice(at).trim()[0]}"`);
      err.pos = at + text.slice(at).search(/\S/);
      throw err;
    }
    const [type, value] = Object.entries(m.groups).find(([, v]) => v !== undefined);
    tokens.push({ type, value, pos: TOKEN.lastIndex - value.length });
  }
  tokens.push({ type: 'end', value: 'end of line', pos: text.length });
  return tokens;
}
module.exports = { tokenize };
