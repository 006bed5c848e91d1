/* topseg: masks for images, from a bundle on disk or in memory. The C interface.
 *
 *     #include <topseg.h>
 *
 *     topseg_model* model = NULL;
 *     if (topseg_open("bundle", NULL, &model)) { puts(topseg_error()); return 1; }
 *     uint8_t* mask = malloc(height * width);                 // one byte for each pixel
 *     topseg_image image = {pixels, height, width, 0};        // RGB bytes, rows without gaps
 *     if (topseg_mask8(model, &image, mask)) puts(topseg_error());
 *     topseg_close(model);
 *
 * A bundle is the folder that `topseg export` or `topseg train` writes (metadata.json and
 * weights.safetensors). Pre-processing travels in it: give pixels as they are, at any size.
 *
 * Every function that can fail returns a status; topseg_error() then has the text of it: what is
 * wrong, where, what was got and what was expected. No exception leaves the library. A model may be
 * used by several threads at once; each call has working memory of its own. Sizes are in pixels and
 * always in the order height, width. A process may be forked while no call runs: the model works
 * in both, and each closes its own.
 */
#ifndef TOPSEG_H
#define TOPSEG_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(TOPSEG_STATIC)
#ifdef TOPSEG_BUILD
#define TOPSEG_API __declspec(dllexport)
#else
#define TOPSEG_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define TOPSEG_API __attribute__((visibility("default")))
#else
#define TOPSEG_API
#endif

#define TOPSEG_VERSION_MAJOR 0
#define TOPSEG_VERSION_MINOR 1
#define TOPSEG_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

typedef enum topseg_status {
    TOPSEG_OK = 0,
    TOPSEG_INVALID_ARGUMENT = 1, /* a null pointer, a size that the network cannot take ... */
    TOPSEG_BAD_BUNDLE = 2,       /* missing, damaged, or of a network that is not known here */
    TOPSEG_OUT_OF_MEMORY = 3,
    TOPSEG_INTERNAL = 4 /* a fault of the library */
} topseg_status;

/* A network with its weights, ready to run. */
typedef struct topseg_model topseg_model;

typedef struct topseg_options {
    int threads; /* threads of a call; 0: one for each processor. The result is the same. */
    const char* code_path; /* "portable", "avx2", "avx512" ...; NULL: the fastest here */
    int check_hashes;      /* 1: compare the weights with the SHA-256 in metadata.json */
} topseg_options;

typedef struct topseg_info {
    int num_classes;    /* K */
    int channels;       /* C of an image; 3 is RGB */
    int stride;         /* logits have one cell for this many pixels of the network's input */
    int multiple;       /* the network's input is a multiple of this many pixels, both ways */
    int ignore_index;   /* "no class" in masks of data sets: 255, or 65535 above 255 classes */
    const char* name;   /* architecture, such as "topformer_tiny"; lives as long as the model */
    const char* notice; /* a limit to the model's use, or NULL */
} topseg_info;

/* (height, width, C) bytes. */
typedef struct topseg_image {
    const uint8_t* pixels;
    int height, width;
    ptrdiff_t row_bytes; /* from one row to the next; 0: width * C */
} topseg_image;

/* Text of the last failure in this thread; never NULL. Valid until the next call in this thread. */
TOPSEG_API const char* topseg_error(void);

/* "0.1.0" */
TOPSEG_API const char* topseg_version(void);

/* Opens a bundle's folder (UTF-8). options may be NULL: every processor, the fastest code path. */
TOPSEG_API topseg_status topseg_open(const char* folder, const topseg_options* options,
                                     topseg_model** model);

/* Opens a bundle in memory; both buffers may be freed afterwards. */
TOPSEG_API topseg_status topseg_open_memory(const void* metadata, size_t metadata_bytes,
                                            const void* weights, size_t weights_bytes,
                                            const topseg_options* options, topseg_model** model);

/* Frees a model; NULL is allowed. No call of it may be running. */
TOPSEG_API void topseg_close(topseg_model* model);

TOPSEG_API topseg_status topseg_describe(const topseg_model* model, topseg_info* info);

/* A class's name (UTF-8, lives as long as the model) and colour; either may be NULL. */
TOPSEG_API topseg_status topseg_class(const topseg_model* model, int index, const char** name,
                                      uint8_t rgb[3]);

/* The network's input size for an image, by the bundle's resize rule. */
TOPSEG_API topseg_status topseg_network_size(const topseg_model* model, int height, int width,
                                             int* network_height, int* network_width);

/* Runs the network on images of its own size.
 *   images: (batch, height, width, C) bytes; height and width are multiples of info.multiple
 *   logits: (batch, K, height / stride, width / stride) floats, written */
TOPSEG_API topseg_status topseg_logits(const topseg_model* model, const uint8_t* images, int batch,
                                       int height, int width, float* logits);

/* Resizes an image to the network's input as the bundle says.
 *   input: (network height, network width, C) bytes, written; see topseg_network_size */
TOPSEG_API topseg_status topseg_prepare(const topseg_model* model, const topseg_image* image,
                                        uint8_t* input);

/* Makes a mask of any size from logits: full bilinear interpolation and the best class, exactly.
 *   logits:      (K, logits_height, logits_width) floats
 *   mask8:       (height, width) class indices, written; for up to 255 classes, else NULL
 *   mask16:      the same in 16 bits; NULL where mask8 is given
 *   probability: (height, width) the softmax probability of the mask's class, written; or NULL */
TOPSEG_API topseg_status topseg_finish(const topseg_model* model, const float* logits,
                                       int logits_height, int logits_width, int height, int width,
                                       uint8_t* mask8, uint16_t* mask16, float* probability);

/* From an image to its mask at the image's own size: prepare, logits and finish in one call. */
TOPSEG_API topseg_status topseg_mask8(const topseg_model* model, const topseg_image* image,
                                      uint8_t* mask);
TOPSEG_API topseg_status topseg_mask16(const topseg_model* model, const topseg_image* image,
                                       uint16_t* mask);

/* The mask, and the probability of the class at each pixel, (height, width) floats. */
TOPSEG_API topseg_status topseg_mask8_probability(const topseg_model* model,
                                                  const topseg_image* image, uint8_t* mask,
                                                  float* probability);

/* Each class's share of a mask's pixels, 0 to 1: K doubles, written. Values without a class count
 * as pixels of none. */
TOPSEG_API topseg_status topseg_shares8(const topseg_model* model, const uint8_t* mask, int height,
                                        int width, double* shares);
TOPSEG_API topseg_status topseg_shares16(const topseg_model* model, const uint16_t* mask,
                                         int height, int width, double* shares);

#ifdef __cplusplus
}
#endif
#endif
