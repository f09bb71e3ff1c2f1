/* A CUDA driver and runtime that do nothing: one device, so that torch dispatches as on a GPU where there is none. */
#include <stdlib.h>
#include <string.h>
#include "driver_types.h"
typedef int Result;
#define NOTHING(name) Result name(void) { return 0; }
NOTHING(cudaGetLastError) NOTHING(cudaPeekAtLastError) NOTHING(cudaDeviceSynchronize)
NOTHING(cudaSetDevice) NOTHING(cudaEventRecord) NOTHING(cudaEventRecordWithFlags) NOTHING(cudaEventDestroy) NOTHING(cudaEventQuery)
NOTHING(cudaEventSynchronize) NOTHING(cudaStreamWaitEvent) NOTHING(cudaStreamSynchronize) NOTHING(cudaStreamQuery)
Result cudaGetDeviceCount(int *count) { *count = 1; return 0; }
Result cudaGetDevice(int *device) { *device = 0; return 0; }
Result cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
Result cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
Result cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
Result cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
/* Memory of the device is that of the host: inductor makes a few constants there. */
Result cudaMalloc(void **place, size_t size) { *place = aligned_alloc(512, (size + 511) / 512 * 512); return *place == 0; }
Result cudaFree(void *place) { free(place); return 0; }
Result cudaMemGetInfo(size_t *left, size_t *total) { *left = *total = 80UL << 30; return 0; }
Result cudaMemcpyAsync(void *to, const void *from, size_t size) { memcpy(to, from, size); return 0; }
NOTHING(cudaThreadExchangeStreamCaptureMode)
Result cudaStreamGetCaptureInfo(void *stream, int *status) { *status = 0; return 0; }
static char *next = (char *)4096;
Result cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) { *stream = next += 16; return 0; }
Result cudaEventCreateWithFlags(void **event, unsigned flags) { *event = next += 16; return 0; }
NOTHING(cuCtxGetCurrent) NOTHING(cuCtxSetCurrent) NOTHING(cuDeviceGet) NOTHING(cuDeviceGetAttribute)
NOTHING(cuDevicePrimaryCtxRetain) NOTHING(cuPointerGetAttribute) NOTHING(cuGetErrorString)
Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active) { *flags = 0; *is_active = 1; return 0; }

static Result describe(struct cudaDeviceProp *device) {
    memset(device, 0, sizeof *device);
    strcpy(device->name, "a GPU that computes nothing");
    device->major = 9;
    device->multiProcessorCount = 132;
    device->totalGlobalMem = 80UL << 30;
    device->warpSize = 32;
    device->maxThreadsPerBlock = 1024;
    device->maxThreadsPerMultiProcessor = 2048;
    device->regsPerBlock = device->regsPerMultiprocessor = 65536;
    device->sharedMemPerBlock = 49152;
    device->sharedMemPerBlockOptin = 232448;
    device->sharedMemPerMultiprocessor = 233472;
    device->l2CacheSize = 50 << 20;
    device->maxThreadsDim[0] = device->maxThreadsDim[1] = 1024;
    device->maxThreadsDim[2] = 64;
    device->maxGridSize[0] = 2147483647;
    device->maxGridSize[1] = device->maxGridSize[2] = 65535;
    return 0;
}
Result cudaGetDeviceProperties(struct cudaDeviceProp *device, int number) { return describe(device); }
Result cudaGetDeviceProperties_v2(struct cudaDeviceProp *device, int number) { return describe(device); }
