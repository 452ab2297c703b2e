/** What the window's preload says to its page when it hands over the port. */
export const computePortMessage = 'compute:port';
