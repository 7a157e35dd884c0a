import platform

print(platform.machine(), 6 * 7)
