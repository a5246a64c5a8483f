/** infoType of the entries of genm, genp and generalInfo that somebody here knows. @see RFC 9810 section 5.3.19 */
export const INFO_TYPE = {
  signKeyPairTypes: '1.3.6.1.5.5.7.4.2',
  currentCrl: '1.3.6.1.5.5.7.4.6',
  implicitConfirm: '1.3.6.1.5.5.7.4.13',
  confirmWaitTime: '1.3.6.1.5.5.7.4.14',
  caCerts: '1.3.6.1.5.5.7.4.17',
  rootCaKeyUpdate: '1.3.6.1.5.5.7.4.18',
  certReqTemplate: '1.3.6.1.5.5.7.4.19',
  rootCaCert: '1.3.6.1.5.5.7.4.20',
  certProfile: '1.3.6.1.5.5.7.4.21',
  crlStatusList: '1.3.6.1.5.5.7.4.22',
  crls: '1.3.6.1.5.5.7.4.23',
} as const;
