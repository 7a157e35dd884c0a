/* Python finds its environment by argv[0], which is passed on as it is: only a name without a slash is looked up on PATH. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *found(const char *name, const char *path)
{
    char *place = malloc(strlen(path) + strlen(name) + 2);
    while (place && *path) {
        size_t length = strcspn(path, ":");
        sprintf(place, "%.*s/%s", (int)length, path, name);
        if (access(place, X_OK) == 0)
            return place;
        path += length + (path[length] == ':');
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc && !strchr(argv[0], '/')) {
        char *place = found(argv[0], getenv("PATH") ? getenv("PATH") : "");
        if (place)
            argv[0] = place;
    }
    setenv("PYTHONNOUSERSITE", "true", 1);
    execv(PYTHON, argv);
    return 127;
}
