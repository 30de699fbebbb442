module.exports = ({ args, debug }) => {
  debug('reversing %d words', args.length);
  return args.map((w) => [...String(w)].reverse().join('')).join(' ');
};
