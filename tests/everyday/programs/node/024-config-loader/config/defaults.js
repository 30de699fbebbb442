module.exports = {
  server: { host: 'localhost', port: 3000, cors: false },
  db: { url: 'sqlite://data.db', password: 'changeme', pool: 5 },
  features: ['search'],
};
