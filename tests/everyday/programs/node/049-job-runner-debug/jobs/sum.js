module.exports = ({ args }) => args.filter((a) => typeof a === 'number').reduce((a, b) => a + b, 0);
