/* Python finds its virtual environment by argv[0], which a link in another tree would hide. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argc;
    argv[0] = SELF;
    setenv("PYTHONNOUSERSITE", "true", 1);
    execv(PYTHON, argv);
    return 127;
}
