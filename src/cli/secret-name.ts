/** True for a file name that usually contains secrets, in any folder. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name)
}

const SECRET =
  /^(?:\.env.*|\.git|\.git-credentials|\.npmrc|\.pypirc|\.netrc|\.aws|\.ssh|\.gnupg|\.kube|\.docker|\.pgpass|credentials|id_(?:rsa|dsa|ecdsa|ed25519)|.*\.(?:pem|key|p12|pfx))$/
