module.exports = ({ pass }) => {
  if (pass > 0) throw new Error('second pass always fails');
  return 'fine at first';
};
