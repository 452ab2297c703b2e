import { contextBridge, ipcRenderer, webUtils } from 'electron';
import { createDesktopApi } from './api.ts';
import { pushChannels } from './push-channels.ts';

contextBridge.exposeInMainWorld('dbellDesktop', createDesktopApi(ipcRenderer, webUtils, pushChannels));
