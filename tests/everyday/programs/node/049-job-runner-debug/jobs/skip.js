module.exports = () => 'not reached';
