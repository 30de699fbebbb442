const express = require('express');
const notesRouter = require('./routes/notes');

function createApp() {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json());

  app.use((req, res, next) => {
    app.locals.hits = (app.locals.hits || 0) + 1;
    next();
  });

  app.get('/health', (req, res) => res.json({ status: 'ok' }));
  app.use('/notes', notesRouter());

  app.use((req, res) => res.status(404).json({ error: `No route for ${req.method} ${req.path}` }));
  // eslint-disable-next-line no-unused-vars
  app.use((err, req, res, next) => {
    res.status(err.status || 500).json({ error: err.message });
  });
  return app;
}

module.exports = createApp;
