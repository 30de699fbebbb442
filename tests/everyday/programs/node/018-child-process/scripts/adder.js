process.on('message', ({ numbers }) => {
  process.send({ sum: numbers.reduce((a, b) => a + b) });
});
