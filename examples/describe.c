/* describe.c - all that a program needs to ask what is on a screen. Builds as C11 and as C++.
 *
 *     cc describe.c $(pkg-config --cflags --libs escriba) -o describe && ./describe MODEL FRAME...
 */
#include <escriba.h>
#include <stdio.h>
#include <stdlib.h>

static int show(void *user_data, const escriba_observation *seen)
{
    int *failures = (int *)user_data;
    if (seen->status != ESCRIBA_OK) {
        fprintf(stderr, "%s\n", seen->error);
        ++*failures;
    } else {
        printf("%s: [%s] %s\n", seen->image_path, seen->activity, seen->description);
    }
    return 0; /* go on */
}

int main(int argc, char **argv)
{
    escriba_error error;
    escriba_options options;
    escriba_options_init(&options);
    options.model = argc > 1 ? argv[1] : "models/escriba-tiny";

    escriba_model *model;
    if (escriba_open(&model, &options, &error) != ESCRIBA_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    size_t count = argc > 2 ? (size_t)argc - 2 : 0;
    escriba_frame *frames = (escriba_frame *)calloc(count + 1, sizeof *frames);
    for (size_t i = 0; frames != NULL && i < count; i++)
        frames[i].path = argv[i + 2];

    int failures = 0;
    if (frames == NULL ||
        escriba_classify_frames(model, frames, count, NULL, show, NULL, &failures, &error) != ESCRIBA_OK)
        failures++;
    free(frames);
    escriba_free(model);
    return failures > 0;
}
