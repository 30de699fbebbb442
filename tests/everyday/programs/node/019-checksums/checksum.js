import crypto from 'crypto';
import fs from 'fs';

const dir = process.argv[2] ?? 'files';
const secret = 'not-a-real-secret';

function hashFile(file, algorithm = 'sha256') {
  return new Promise((resolve, reject) => {
    const hash = crypto.createHash(algorithm);
    fs.createReadStream(file)
      .on('error', reject)
      .on('data', (chunk) => hash.update(chunk))
      .on('end', () => resolve(hash.digest('hex')));
  });
}

const names = fs.readdirSync(dir).sort();
const manifest = [];
for (const name of names) {
  const sha = await hashFile(`${dir}/${name}`);
  manifest.push(`${sha}  ${name}`);
  console.log(sha.slice(0, 16) + '…', name, `(md5 ${await hashFile(`${dir}/${name}`, 'md5')})`);
}

const text = manifest.join('\n') + '\n';
fs.writeFileSync('SHA256SUMS', text);
const mac = crypto.createHmac('sha256', secret).update(text).digest('base64url');
console.log('signature:', mac);

const check = crypto.createHmac('sha256', secret).update(text).digest();
console.log('verified:', crypto.timingSafeEqual(check, Buffer.from(mac, 'base64url')));

// encrypt / decrypt round trip with a fixed key and iv
const key = crypto.scryptSync('password', 'salt', 32, { N: 1024 });
const iv = Buffer.alloc(12, 7);
const cipher = crypto.createCipheriv('aes-256-gcm', key, iv);
const sealed = Buffer.concat([cipher.update('attack at dawn', 'utf8'), cipher.final()]);
console.log('sealed:', sealed.toString('hex'), 'tag:', cipher.getAuthTag().toString('hex'));
const decipher = crypto.createDecipheriv('aes-256-gcm', key, iv).setAuthTag(cipher.getAuthTag());
console.log('opened:', decipher.update(sealed, null, 'utf8') + decipher.final('utf8'));
