const winston = require('winston');
const { combine, printf, json, splat, errors } = winston.format;

const redact = winston.format((info) => {
  if (info.token) info.token = '[redacted]';
  return info;
});

const logger = winston.createLogger({
  level: process.env.LOG_LEVEL || 'info',
  defaultMeta: { service: 'importer' },
  format: combine(errors(), splat(), redact()),
  transports: [
    new winston.transports.Console({
      format: printf(({ level, message, service, ...rest }) => {
        const extra = Object.keys(rest).length ? ' ' + JSON.stringify(rest) : '';
        return `${level.toUpperCase().padEnd(7)} [${service}] ${message}${extra}`;
      }),
    }),
    new winston.transports.File({ filename: 'app.log', format: json() }),
    new winston.transports.File({ filename: 'error.log', level: 'error', format: json() }),
  ],
});

function importRows(rows) {
  const child = logger.child({ job: 42 });
  child.info('importing %d rows', rows.length);
  for (const row of rows) {
    if (!row.name) {
      child.warn('row without a name', { row: row.id });
      continue;
    }
    child.debug('row ok', { row: row.id, token: 'abc' });
    if (row.fail) {
      try {
        throw new Error('disk full');
      } catch (e) {
        child.error(`row ${row.id}: ${e.message}`);
      }
    }
  }
}

importRows([{ id: 1, name: 'a' }, { id: 2 }, { id: 3, name: 'c', fail: true }]);
logger.verbose('verbose sits between info and debug');
logger.silly('never shown');
logger.info('done');
