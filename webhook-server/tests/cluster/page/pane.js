// {{scope}} stays
